"""Tools for developers: private servers, the demo, the commands of the Makefile. No part of the application."""
