"""Allure 2 and 3."""
