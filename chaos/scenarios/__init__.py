"""The scenarios, by what fails in them."""
