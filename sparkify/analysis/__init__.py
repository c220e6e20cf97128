"""The analysts' questions, and the tables, pictures and pages that answer them."""
