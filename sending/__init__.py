"""The sender's side of the provider's API: sends each message at most once.

segments        how many segments a text takes
sms             a message to send, and the two forms in which the provider takes it
answers         what the provider answers to a send
outcomes        the four ways in which a send ends, one of them *unknown*
single_attempt  keeps the HTTP client from repeating a request by itself
client          the client of AdvancedSMSsend and SimpleSMSsendWithPostback
rows            the rows of a CSV file, each with an identity that outlives a restart
intents         the records of the intent log, and the state that follows from them
intent_log      the log on disk, synced before each call
submissions     posts the provider's answers to the gateway until it acknowledges them
contacts        asks the gateway whether a number may be written to
contact_check   decides from the answer whether a message may be sent
run             sends rows, at a rate, each at most once
"""
