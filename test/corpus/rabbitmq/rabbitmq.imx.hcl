# RabbitMQ, whose start scripts want a shell and a few of its companions.

image "rabbitmq" {
  packages = ["rabbitmq-server", "dash", "coreutils", "sed"]
  without  = ["openssl", "python3", "socat"] # for its administration
  # coreutils could convert texts of other countries' character sets; the start scripts have none.
  generated = ["!/usr/lib/*/gconv/**"]
  user      = "rabbitmq"
  workdir  = "/var/lib/rabbitmq"
  command  = ["/usr/lib/rabbitmq/bin/rabbitmq-server"]

  environment = {
    HOME                  = "/var/lib/rabbitmq"
    LANG                  = "C.UTF-8"
    RABBITMQ_CONFIG_FILE  = "/etc/rabbitmq/shop.conf"
    RABBITMQ_LOGS         = "-"                # to standard output
    RABBITMQ_NODENAME     = "rabbit@localhost" # the volume's data belong to this name
    ERL_EPMD_ADDRESS      = "127.0.0.1"
    RABBITMQ_SERVER_START_ARGS = "+S 2:2"
  }
}

service "rabbitmq" {
  image    = image.rabbitmq
  deadline = "2m"

  port "amqp" {
    container = 5672
    publish   = 5672
  }
  file "/etc/rabbitmq/shop.conf" {
    content = file("shop.conf")
  }
  volume "data" {
    path = "/var/lib/rabbitmq"
  }
  tmpfs "/var/log/rabbitmq" { # the log of upgrades can't go to standard output
    size = "4MiB"
  }
  health {
    tcp {
      port = "amqp"
    }
  }
  resources {
    cpu    = 1
    memory = "384MiB"
    pids   = 128
  }
}
