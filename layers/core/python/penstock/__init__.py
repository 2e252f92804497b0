"""Penstock, the customer data hub that runs on AWS serverless."""
