"""The thread that runs a model, and the event loop's side of it: queue, mailbox, worker, executor."""
