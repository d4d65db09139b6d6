"""Parts of the generated city: the plan of its streets, the ground they lie on, and what stands on them."""
