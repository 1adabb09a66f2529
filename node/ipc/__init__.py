"""The unix socket between core and whoever runs beside it on the same machine."""
