ALTER TABLE days DELETE WHERE service = {service:String} SETTINGS mutations_sync = 1
