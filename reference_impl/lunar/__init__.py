"""A lunar landform classifier: a hybrid of CNN and transformer, its data, its training.

Run it with `python -m reference_impl.lunar.main`; read `model.py` first.
"""
