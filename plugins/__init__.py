"""The shipped plugins. Each module or package is one plugin; it imports only ``stacflask``, none of its modules."""
