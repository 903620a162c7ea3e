"""The loop: what changed is remembered and queued; each pass observes, decides, and writes.

    watch ─► Feed ─► Store, Ledger, Queue ─► Workers ─► Reconciler ─► Executor ─► cluster
                                                            ▲
                                        Probe (progress of running jobs)

All state lives in one event loop and no method between two ``await``s sees a half-made change. Nothing
in memory is the only place where anything is written down: after a restart the API server's objects
alone give the same picture.
"""
