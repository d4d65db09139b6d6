"""The hub's HTTP interface: one router a noun, all below ``/api/v1``, errors as RFC 9457 problem details."""
