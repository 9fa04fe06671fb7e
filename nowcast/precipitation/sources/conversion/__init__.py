"""Other people's radar made into archives."""
