"""The store on MongoDB, or on any server that speaks its protocol."""
