"""The sender's side of the provider's API: a client that sends each message at most once.

segments        how many segments a text takes
sms             a message to send, and the two forms in which the provider takes it
answers         what the provider answers to a send
outcomes        the four ways in which a send ends, one of them *unknown*
single_attempt  keeps the HTTP client from repeating a request by itself
client          the client of AdvancedSMSsend and SimpleSMSsendWithPostback
"""
