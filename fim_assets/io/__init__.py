"""Files and processes of the machine and of object storage; nothing here knows a document."""
