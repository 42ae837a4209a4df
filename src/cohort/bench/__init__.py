"""How fast this machine is: the whole pipeline step by step at growing sizes, beside what else is installed."""
