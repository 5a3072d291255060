"""What a developer runs: the private servers, the demo, the commands behind the Makefile. No part of the program."""
