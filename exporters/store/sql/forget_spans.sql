ALTER TABLE spans DELETE WHERE service = {service:String} SETTINGS mutations_sync = 1
