"""The MQTT broker of a test network: mosquitto where there is one, else the embedded amqtt."""
