"""The CDK app: stages, stacks, every function's rights, and what a deploy and a destroy need around them."""
