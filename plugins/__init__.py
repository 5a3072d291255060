"""The policy that is shipped: each module is one plugin, loaded by name, and knows only the face of stacflask."""
