"""All partitions together: numbers, pictures, the page, the card."""
