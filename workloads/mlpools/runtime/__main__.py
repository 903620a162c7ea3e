"""``python -m mlpools.runtime``: one worker, started by its supervisor."""

from mlpools.runtime.launch import main

main()
