# An MQTT broker that keeps retained messages and sessions in a volume.

image "mosquitto" {
  packages = ["mosquitto"]
  user     = "mosquitto"
  command  = ["/usr/sbin/mosquitto", "-c", "/etc/mosquitto/broker.conf"]
}

service "mosquitto" {
  image = image.mosquitto

  port "mqtt" {
    container = 1883
    publish   = 1883
  }
  file "/etc/mosquitto/broker.conf" {
    content = file("broker.conf")
  }
  volume "data" {
    path = "/var/lib/mosquitto"
  }
  health {
    tcp {
      port = "mqtt"
    }
  }
  resources {
    cpu    = 0.25
    memory = "32MiB"
    pids   = 8
  }
}
