"""Pictures and clips of strangers, decoded where they can do no harm, and made anew from their pixels."""
