module imx/test/acme

go 1.26.0

replace imx => ../..

require imx v0.0.0

require github.com/letsencrypt/pebble/v2 v2.10.1 // indirect
