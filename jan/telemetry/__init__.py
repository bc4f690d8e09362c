"""What can be seen of the server from outside: logs, metrics, traces, and the request records behind them."""
