"""The local hub: the real CDK app on a local cloud, a front door, a sink and the command line."""
