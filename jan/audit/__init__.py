"""The audit: who did what to whose account, in chains of sealed entries that show what was changed or removed."""
