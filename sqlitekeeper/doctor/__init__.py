"""`keeper doctor`: what is wrong or risky here, each finding with its fix."""
