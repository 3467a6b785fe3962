# Figures of a machine for Prometheus. In an instance it sees the instance's own view of the machine.

image "prometheus-node-exporter" {
  packages = ["prometheus-node-exporter"]
  user     = "nobody"
  command = [
    "/usr/bin/prometheus-node-exporter", "--web.listen-address=0.0.0.0:9100",
    "--collector.disable-defaults", "--collector.cpu", "--collector.loadavg", "--collector.meminfo",
    "--collector.stat", "--collector.uname",
  ]
}

service "prometheus-node-exporter" {
  image = image.prometheus-node-exporter

  port "http" {
    container = 9100
    publish   = 9100
  }
  health {
    http {
      port = "http"
      path = "/"
    }
  }
  resources {
    cpu    = 0.1
    memory = "32MiB"
    pids   = 16
  }
}
