"""Ways to compute the class sums, with one contract: `mmrecall.functional.class_sums` chooses."""
