"""The command line of semshard, installed as `semshard_cli`: parse, call one library function, show the result."""
