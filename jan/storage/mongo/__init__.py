"""The store on MongoDB, or any server that speaks its protocol."""
