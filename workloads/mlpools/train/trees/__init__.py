"""Boosted trees over all ranks: what XGBoost and LightGBM have in common.

``section`` is what the user says, ``data`` a rank's rows in the form of one contract, ``boosting`` the loop
over rounds with its checkpoints, ``outcome`` what remains. A framework brings a ``Trees``: one rank's model.
"""
