"""Where bytes lie: files on a volume and objects in a store, behind one set of words."""
