# A shop in three tiers: nginx in front of a small Python service in front of Redis.
# Try it:  imx plan examples/shop  and then  imx apply examples/shop

image "web" {
  packages    = ["nginx-light"]
  user        = "www-data"
  command     = ["/usr/sbin/nginx", "-e", "stderr", "-c", "/etc/nginx/shop.conf"]
  stop_signal = "SIGQUIT" # nginx then finishes the requests that it has

  file "/srv/www/index.html" {
    content = file("index.html")
  }
}

image "app" {
  packages = ["python3", "python3-redis"]
  user     = "nobody"
  command  = ["/usr/bin/python3", "-B", "/srv/app/shop.py"]

  file "/srv/app/shop.py" {
    content = file("shop.py")
  }
}

image "db" {
  packages = ["redis-server"]
  user     = "redis"
  command  = ["/usr/bin/redis-server", "/etc/redis/shop.conf"]
}

service "web" {
  image    = image.web
  replicas = 2
  connect  = [service.app.port.http] # everything else is denied
  drain    = "5s"

  port "http" {
    container = 8080
    publish   = 8080
  }
  file "/etc/nginx/shop.conf" {
    content = templatefile("nginx.conf", { app = service.app.port.http.address })
  }
  tmpfs "/var/lib/nginx" {
    size = "16MiB"
  }
  health {
    every = "250ms"
    http {
      port = "http"
      path = "/healthz"
    }
  }
  deploy {
    warm = "frozen" # the release before stays in memory: going back takes a moment
  }
  resources {
    cpu    = 0.5
    memory = "64MiB"
    pids   = 16
  }
}

service "app" {
  image    = image.app
  replicas = 2
  connect  = [service.db.port.redis]
  drain    = "5s"
  deadline = "15s"

  environment = {
    PORT  = "8000"
    REDIS = service.db.port.redis.address
  }
  port "http" {
    container = 8000
  }
  health {
    every = "250ms"
    http {
      port = "http"
      path = "/healthz"
    }
  }
  deploy { # some visitors first, for as long as the metrics are no worse than before
    strategy = "canary"
    warm     = "frozen"

    step {
      share = 20
      pause = "5s"
    }
    judge {
      port     = "http"
      requests = "http_requests_total"
      errors   = "http_requests_total{code=~'5..'}"
    }
  }
  resources {
    cpu    = 0.5
    memory = "96MiB"
    pids   = 64
  }
}

service "db" {
  image = image.db

  port "redis" {
    container = 6379
  }
  file "/etc/redis/shop.conf" {
    content = file("redis.conf")
  }
  volume "data" { # outlives every instance
    path = "/var/lib/redis"
  }
  resources {
    memory = "128MiB"
  }
}

# What must hold before anything is released: a visit goes through all three tiers, on a network of its own.
test "visits" {
  service = service.web
  timeout = "30s"
  listens = [8080]
  user    = "www-data"

  http "page" {
    port     = "http"
    contains = "Today:"
  }
  http "visit" {
    port    = "http"
    path    = "/api/visit"
    matches = "\"visits\": [0-9]+"
  }
  command "reach" { # from where web is, and with a program that is there for this test alone
    packages = ["curl"]
    command  = ["/usr/bin/curl", "-fsS", "http://app:8000/healthz"]
  }
  cannot {
    connect = ["db:6379"] # the store is the app's
    write   = ["/srv/www"]
  }
}

test "store" {
  service = service.db
  timeout = "30s"
  user    = "redis"

  tcp "ping" {
    port     = "redis"
    send     = "PING\r\n"
    contains = "PONG"
  }
  process "redis-server" {
    most = 1
  }
}
