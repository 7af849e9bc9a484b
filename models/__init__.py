"""LEARNT: zoo/ (Keras families), train, judge/, export, registry."""
