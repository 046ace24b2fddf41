"""As regras do outro lado: um servidor de mentira conduz o cliente, ou o atendente, que o aluno escreveu.

O teclado e a tela do programa são pipes: o que ele lê da entrada é o que a regra digita, e o que ele escreve na saída é
o que a pessoa veria. O servidor de mentira diz o que o de verdade diria, cortado onde a regra quer.
"""

import socket
import time

from conferidor.dialogo import Falha, Fita, Participante
from conferidor.palco import Alvo, Livro
from conferidor.processo import Processo
from conferidor.regras import COMANDOS, CONVERSA, FIM, IDENTIFICACAO, LIMPAR, LINHAS, RECV

PROGRAMA = Livro("cliente.py")
regra = PROGRAMA.regra

THREADS = "São duas threads: uma parada no recv, outra no teclado. Veja ouvir_servidor em cliente.py"
RASTROS = "Traceback (most recent call last)", "Exception in thread"


class DoServidor(Participante):
    """O lado do servidor na conexão com o programa: manda o que o servidor mandaria, lê o que o programa diz."""

    IDA, VOLTA = "S → C", "C → S"


class Cena:
    """O programa do aluno no ar, e o servidor de mentira à espera dele."""

    def __init__(self, alvo: Alvo, nome: str = "Yuri") -> None:
        self.alvo = alvo
        self.nome = nome
        self.fita = Fita()
        self.fio: DoServidor | None = None
        self.tipo = ""
        self.escuta = socket.create_server(("127.0.0.1", 0))
        self.porta = self.escuta.getsockname()[1]
        try:
            self.lanca()
        except Falha:
            self.escuta.close()
            raise

    def lanca(self) -> None:
        self.programa = Processo(self.alvo.comando, self.porta, self.alvo.pasta, nome=self.nome)
        if "{nome}" not in self.alvo.comando:
            self.digita(self.nome)

    def fecha(self) -> None:
        self.escuta.close()
        if self.fio:
            self.fio.fecha()
        self.programa.mata()

    def depois(self) -> str:
        acabou = self.programa.codigo(prazo=0.2)
        disse = self.programa.ultima_frase()
        return (f"o programa terminou com código {acabou}" if acabou is not None else "o programa está rodando") + (
            f"; mostrou por último: {disse}" if disse else "; não mostrou nada"
        )

    # Até onde a regra precisa que se chegue.

    def conecta(self) -> DoServidor:
        """O programa se conecta; ainda não se leu nada."""
        self.escuta.settimeout(0.05)
        ate = time.monotonic() + self.alvo.subida
        while self.fio is None:
            try:
                sock, endereco = self.escuta.accept()
            except TimeoutError:
                if self.programa.codigo() is not None or time.monotonic() > ate:
                    raise Falha(f"o programa se conecta à porta {self.porta}", "ninguém se conectou") from None
            else:
                limite = time.monotonic() + self.alvo.duracao
                self.fio = DoServidor(endereco, "", self.fita, self.alvo.prazo, limite, sock=sock)
        return self.fio

    def apresenta(self) -> DoServidor:
        """Disse o tipo e o nome, e está na fila."""
        fio = self.conecta()
        self.tipo = (fio.alguma() or "").strip()
        fio.envia("NOME:")
        fio.alguma()
        fio.envia("FILA:OK" if self.atende else "FILA:1")
        return fio

    def conversa(self) -> DoServidor:
        """Está numa conversa com Beatriz."""
        fio = self.apresenta()
        fio.envia("CONECTADO:Beatriz")
        return fio

    @property
    def atende(self) -> bool:
        return self.tipo.startswith("ATENDENTE")

    # O teclado e a tela.

    def digita(self, texto: str) -> None:
        self.fita.anota("", "teclado", repr(texto))
        self.programa.digita(texto)

    def mostra(self, trecho: str) -> None:
        """A tela mostra este trecho, inteiro, no prazo."""
        if not self.programa.escreve(lambda saida: trecho in saida, self.alvo.prazo):
            raise Falha(f"o programa mostra {trecho!r}", f"não mostrou, em {self.alvo.prazo:g} s")

    def diz(self, texto: str) -> None:
        """O programa manda ao servidor o que se digitou, com o prefixo de quem fala ou sem ele."""
        linha = self.fio.ate(("[", texto))
        if linha not in (texto, f"[{self.nome}]: {texto}"):
            raise Falha(f"o servidor lê {texto!r} ou {f'[{self.nome}]: {texto}'!r}", repr(linha))

    def termina(self) -> None:
        """O programa acaba sozinho, sem que se digite nada e sem despejar um erro na tela."""
        if self.programa.codigo(self.alvo.prazo) is None:
            raise Falha("o programa termina sozinho", f"ainda roda, {self.alvo.prazo:g} s depois")
        self.sem_rastro()

    def sem_rastro(self) -> None:
        for rastro in RASTROS:
            if rastro in self.programa.saida():
                raise Falha("uma frase para a pessoa", "um erro do interpretador")


# --- Nível 1 --------------------------------------------------------------------------------------


@regra(1, "O programa se conecta ao servidor.", IDENTIFICACAO, "Leia a porta da linha de comando")
def programa_conecta(cena: Cena) -> None:
    cena.conecta()


@regra(1, "A primeira linha é o tipo, `CLIENTE` ou `ATENDENTE`, terminada em `\\n`.", IDENTIFICACAO, RECV)
def programa_tipo(cena: Cena) -> None:
    tipo = cena.conecta().alguma()
    if tipo not in ("CLIENTE", "ATENDENTE"):
        raise Falha("o servidor lê 'CLIENTE' ou 'ATENDENTE'", repr(tipo))


@regra(1, "A `NOME:`, o programa responde com o nome digitado.", IDENTIFICACAO, "O servidor pergunta; responda")
def programa_nome(cena: Cena) -> None:
    fio = cena.conecta()
    fio.alguma()
    fio.envia("NOME:")
    if (nome := fio.alguma()) != cena.nome:
        raise Falha(f"o servidor lê {cena.nome!r}", repr(nome))


# --- Nível 2 --------------------------------------------------------------------------------------


@regra(2, "`FILA:<posição>`: o cliente vê a sua posição.", COMANDOS, "Corte a linha nos dois-pontos")
def programa_fila(cena: Cena) -> None:
    fio = cena.apresenta()
    if not cena.atende:
        fio.envia("FILA:73")
        cena.mostra("73")


@regra(2, "`CONECTADO:<nome>`: a pessoa vê com quem fala.", COMANDOS, "Corte a linha nos dois-pontos")
def programa_conectado(cena: Cena) -> None:
    cena.conversa()
    cena.mostra("Beatriz")


# --- Nível 3 --------------------------------------------------------------------------------------


@regra(3, "`[<nome>]: <texto>`: a pessoa vê o que lhe disseram.", COMANDOS, "O que começa por `[` é mensagem")
def programa_mostra(cena: Cena) -> None:
    cena.conversa().envia("[Beatriz]: Bom dia")
    cena.mostra("Bom dia")


@regra(3, "O que se digita vai para o servidor, numa linha.", CONVERSA, "Não se esqueça do `\\n`")
def programa_fala(cena: Cena) -> None:
    cena.conversa()
    cena.mostra("Beatriz")
    cena.digita("Tudo certo")
    cena.diz("Tudo certo")


@regra(3, "O que chega aparece enquanto ninguém digita.", CONVERSA, THREADS)
def programa_mostra_sem_digitar(cena: Cena) -> None:
    fio = cena.conversa()
    for texto in "primeira", "segunda", "terceira":
        fio.envia(f"[Beatriz]: {texto}")
        cena.mostra(texto)


@regra(3, "Acentos e emojis passam intactos, nos dois sentidos.", LINHAS, "Use encode e decode em UTF-8, sempre dito")
def programa_acentos(cena: Cena) -> None:
    cena.conversa().envia("[Beatriz]: Atenção 🙂")
    cena.mostra("Atenção 🙂")
    cena.digita("é você?")
    cena.diz("é você?")


@regra(3, "`AVISO:<mensagem>`: a pessoa vê o aviso.", COMANDOS, "Informa, e não muda nada")
def programa_aviso(cena: Cena) -> None:
    cena.apresenta().envia("AVISO:Vai chover.")
    cena.mostra("Vai chover.")


# --- Nível 4 --------------------------------------------------------------------------------------


@regra(4, "`FIM:<mensagem>`: a pessoa vê por que acabou.", FIM, "Mostre o que vem depois dos dois-pontos")
def programa_fim(cena: Cena) -> None:
    cena.conversa().envia("FIM:Atendimento encerrado. Até amanhã.")
    cena.mostra("Até amanhã.")


@regra(4, "Depois do `FIM:` o cliente acaba sozinho; o atendente atende o próximo.", FIM, THREADS)
def programa_depois_do_fim(cena: Cena) -> None:
    fio = cena.conversa()
    fio.envia("FIM:Atendimento encerrado.")
    if not cena.atende:
        fio.fecha()
        cena.termina()
        return
    fio.envia("FILA:OK", "CONECTADO:Gustavo", "[Gustavo]: cheguei")
    cena.mostra("cheguei")


@regra(4, "Se o servidor cai, o programa o diz e acaba.", FIM, f"O recv devolveu b'': é o fim. {THREADS}")
def programa_sem_servidor_no_meio(cena: Cena) -> None:
    cena.conversa().fecha()
    cena.termina()


@regra(4, "Se não há servidor, o programa o diz e acaba.", FIM, "O connect levanta ConnectionRefusedError")
def programa_sem_servidor(cena: Cena) -> None:
    cena.fecha()
    cena.lanca()
    if cena.programa.codigo(cena.alvo.subida) is None:
        raise Falha("o programa termina sozinho", f"ainda roda, {cena.alvo.subida:g} s depois")
    cena.sem_rastro()
    if not cena.programa.saida().strip():
        raise Falha("uma frase para a pessoa", "nada")


@regra(4, "Quando o teclado acaba, o programa acaba, o mais tardar com a conversa.", FIM, "O input levanta EOFError")
def programa_teclado_acaba(cena: Cena) -> None:
    fio = cena.conversa()
    cena.mostra("Beatriz")
    cena.programa.acaba_a_entrada()
    fio.envia("FIM:Atendimento encerrado.")
    fio.fecha()
    cena.termina()


# --- Nível 5 --------------------------------------------------------------------------------------


@regra(5, "Uma linha que chega byte a byte aparece inteira.", LINHAS, RECV)
def programa_1_byte(cena: Cena) -> None:
    fio = cena.conversa()
    for byte in b"[Beatriz]: pedacinhos\n":
        fio.envia(bytes([byte]))
    cena.mostra("pedacinhos")


@regra(5, "Linhas que chegam juntas aparecem todas.", LINHAS, RECV)
def programa_juntas(cena: Cena) -> None:
    cena.apresenta().envia("CONECTADO:Beatriz", "[Beatriz]: primeira", "[Beatriz]: segunda", "AVISO:terceira")
    for texto in "primeira", "segunda", "terceira":
        cena.mostra(texto)
    if "FIM:" in cena.programa.saida() or "AVISO:terceira" in cena.programa.saida():
        raise Falha("cada linha é um comando", "'AVISO:terceira' apareceu como se fosse da mensagem")


@regra(5, "Um acento partido entre dois pedaços aparece inteiro.", LINHAS, RECV)
def programa_acento_partido(cena: Cena) -> None:
    fio = cena.conversa()
    fio.envia(b"[Beatriz]: sal", "ã".encode()[:1])
    cena.mostra("Beatriz")
    fio.envia("ã".encode()[1:], b"o nobre", b"\n")
    cena.mostra("salão nobre")


@regra(5, "O que o servidor manda não mexe no terminal de quem lê.", LINHAS, "Não confie no servidor. " + LIMPAR)
def programa_controles(cena: Cena) -> None:
    cena.conversa().envia("[Beatriz]: \x1b]0;invadido\x07fim")
    cena.mostra("fim")
    if "\x1b]0;" in cena.programa.saida():
        raise Falha("o texto sem os controles", "a sequência ESC ]0; chegou à tela")


@regra(5, "Duas linhas digitadas em seguida são duas mensagens.", LINHAS, "Cada uma com o seu `\\n`")
def programa_fala_em_seguida(cena: Cena) -> None:
    cena.conversa()
    cena.mostra("Beatriz")
    cena.digita("um\ndois")
    cena.diz("um")
    cena.diz("dois")
