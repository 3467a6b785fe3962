# Prometheus, which watches itself and keeps two weeks of figures in a volume.

image "prometheus" {
  packages = ["prometheus"]
  user     = "prometheus"
  # The page of its figures needs a library that comes with its time zones as data for other programs: 212 MiB.
  # promtool checks configurations where they are written; with it the image has nearly twice the size.
  generated = ["!/usr/share/javascript/moment-timezone/data/**", "!/usr/bin/promtool"]
  command = [
    "/usr/bin/prometheus", "--config.file=/etc/prometheus/shop.yml", "--web.listen-address=0.0.0.0:9090",
    "--storage.tsdb.path=/var/lib/prometheus/metrics2", "--storage.tsdb.retention.time=14d",
  ]
}

service "prometheus" {
  image = image.prometheus

  port "http" {
    container = 9090
    publish   = 9090
  }
  file "/etc/prometheus/shop.yml" {
    content = file("shop.yml")
  }
  volume "data" {
    path = "/var/lib/prometheus"
  }
  health {
    http {
      port = "http"
      path = "/-/ready"
    }
  }
  resources {
    cpu    = 0.5
    memory = "256MiB"
    pids   = 64
  }
}
