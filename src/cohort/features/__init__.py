"""What is known about each person at index: pure functions of one bucket."""
