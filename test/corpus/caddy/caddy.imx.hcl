# Caddy with a page that it fills in itself.

image "caddy" {
  packages = ["caddy"]
  user     = "caddy"
  command  = ["/usr/bin/caddy", "run", "--config", "/etc/caddy/shop.caddyfile", "--adapter", "caddyfile"]

  environment = { # its certificates and its last configuration would go there
    XDG_DATA_HOME   = "/var/lib/caddy"
    XDG_CONFIG_HOME = "/var/lib/caddy"
  }
  file "/srv/www/index.html" {
    content = file("index.html")
  }
}

service "caddy" {
  image = image.caddy

  port "http" {
    container = 8080
    publish   = 8080
  }
  file "/etc/caddy/shop.caddyfile" {
    content = file("shop.caddyfile")
  }
  tmpfs "/var/lib/caddy" {
    size = "8MiB"
  }
  health {
    http {
      port = "http"
      path = "/healthz"
    }
  }
  resources {
    cpu    = 0.5
    memory = "96MiB"
    pids   = 32
  }
}
