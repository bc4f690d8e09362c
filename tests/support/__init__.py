"""What tests share: servers, stores, stand-ins, clients."""
