# In: what must hold. Out: an exception says what does not.
def check(holds, what)
  raise what unless holds
end
