"""Many runs with one budget, side by side in the end."""
