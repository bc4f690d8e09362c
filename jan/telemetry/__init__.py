"""Makes the server observable: logs, metrics, traces, and the request records behind them."""
