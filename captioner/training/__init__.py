"""Training a captioner on a set of `rushes caption-export`: lessons, a student, the loop, its states and its exams."""
