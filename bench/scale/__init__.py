"""The operator under many pools, pods and queued jobs: `python -m bench.scale`."""
