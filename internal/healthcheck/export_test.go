package healthcheck

// Serving is looked at by itself.
var Serving = serving
