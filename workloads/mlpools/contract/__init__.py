"""The contract between the operator and a job's pods, and between the parts inside a pod.

* ``tasks``: operator -> pod, a ``Task`` in the environment variable ``MLPOOLS_TASK``. The same for every
  rank; a pod's rank comes from ``JOB_COMPLETION_INDEX``. A notebook's pod is told a ``Notebook`` instead.
* ``reports``: pod -> operator while it runs, served by every supervisor at ``GET :8470/status``: a
  ``Report``, of which rank 0's speaks for the job, or a notebook's ``Activity``. What a worker tells its
  supervisor stays inside the pod.
* ``ends``: pod -> operator when it ends: its exit code, and a ``Final`` as its termination message.
* ``wiring``: the variables, paths and ports by which all this gets to where it is read.

Every document is one JSON object with camelCase keys. Both programs import these modules (beside them only
``document`` and ``refusals``), and the supervisor runs them inside images that are not ours: they use the
standard library only and work on Python 3.9. A reader ignores keys that it does not know and a writer never
renames one, so an operator and a pod of neighbouring releases understand each other.
"""
