"""A especificação das filas como programa: sem rede, sem threads e sem pressa. As de verdade se comparam com ela.

Um fato tem aqui o nome e os argumentos que tem em `Filas`; quem o causa é dito pelo nome, que é único.
"""

from dataclasses import dataclass, field

from atendimento.filas import Fase
from participante import FECHOU
from protocolo import Consulta, Fim, Pausa, Pronto, Tipo, Transferencia, Volta

NA_ESPERA = "AVISO:Você ainda está na fila; sua mensagem será entregue ao atendente."
REGISTRADA = "AVISO:Esta conversa está sendo registrada."
ATENDIDO = "AVISO:Você já está sendo atendido."
EM_PAUSA = "AVISO:Você está em pausa."
JA_EM_PAUSA = "AVISO:Você já está em pausa."
FORA_DE_PAUSA = "AVISO:Você não está em pausa."
PAUSA_DEPOIS = "AVISO:Você ficará em pausa depois desta conversa."
CANCELADA = "AVISO:Pausa cancelada."
SAIU_DA_FILA = "FIM:Você saiu da fila."
SEM_CONVERSA = "AVISO:Nenhuma conversa para encerrar."
JA_ACABOU = "AVISO:A conversa já acabou."

ENTRE_CONVERSAS = Fase.INTERVALO, Fase.INTERVALO_EM_PAUSA
PARADO = Fase.PAUSA, Fase.INTERVALO_EM_PAUSA


@dataclass(eq=False)
class Alguem:
    """Quem está conectado."""

    nome: str
    cliente: bool = True
    onde: tuple[str, ...] = ("",)  # departamentos
    fase: Fase = Fase.IDENTIFICACAO
    par: "Alguem | None" = None
    conversa: tuple = ()  # (número, departamento, cliente, atendente)
    desde: float = 0  # segundos: quando ela começou
    guardadas: list[str] = field(default_factory=list)
    posicao: int = 0  # a última que o cliente leu
    diz_pronto: bool = False  # já o disse uma vez
    na_frente: bool = False  # espera à frente dos outros: foi transferido ou devolvido
    evita: "Alguem | None" = None  # quem o transferiu

    @property
    def online(self):
        return not self.cliente and self.fase not in PARADO


class Modelo:
    """O que cada fato muda, e o que se conta a cada um."""

    MAXIMO_GUARDADO = 20

    def __init__(self, departamentos=(), *, devolver=False, registrar=False):
        self.departamentos, self.devolver, self.registrar = departamentos, devolver, registrar
        self.agora = 0  # segundos
        self.gente: dict[str, Alguem] = {}
        self.espera: list[Alguem] = []  # clientes e atendentes, por ordem
        self.duracoes = {onde: [] for onde in departamentos or ("",)}  # segundos de cada atendimento
        self.conversas = 0
        self.encerrada = False

    def acontece(self, fato, *args):
        """Um fato; devolve as linhas que cada um lê, e o que o ouvinte ouve. O de quem já saiu não muda nada."""
        self.lidas, self.ouvido = {}, []
        if fato == "admitir" or not args:
            getattr(self, fato)(*args)
        elif args[0] in self.gente:
            getattr(self, fato)(self.gente[args[0]], *args[1:])
        self.formar_pares()
        return self.lidas, self.ouvido

    def retrato(self):
        """Onde está cada um, de uma forma que se compara. Decide o futuro, a menos da espera estimada."""
        gente = self.gente.values()
        clientes, atendentes = ([quem.nome for quem in self.espera if quem.cliente is tipo] for tipo in (True, False))
        estados = (
            (q.nome, q.fase, q.par and q.par.nome, q.onde, tuple(q.guardadas), q.posicao, q.diz_pronto)
            + (q.na_frente and q in self.espera, q.evita in gente and q.evita.nome)
            for q in gente
        )
        online = frozenset(quem.nome for quem in gente if quem.online)
        return tuple(clientes), tuple(atendentes), online, tuple(sorted(estados)), self.encerrada

    def dizer(self, quem, *linhas):
        self.lidas.setdefault(quem.nome, []).extend(linhas)

    def ouvir(self, conversa, evento, de, para, texto=""):
        if self.registrar:
            self.ouvido.append((*conversa, evento, de, para, texto))

    def esperam(self, cliente, onde):
        """Os clientes, ou os atendentes, que esperam num dos departamentos, por ordem."""
        return [quem for quem in self.espera if quem.cliente is cliente and {*quem.onde} & {*onde}]

    def posicao_de(self, cliente):
        return self.esperam(True, cliente.onde).index(cliente) + 1

    def desatualizados(self):
        """Os clientes que não sabem a sua posição."""
        return [quem for quem in self.espera if quem.cliente and quem.posicao != self.posicao_de(quem)]

    # Os fatos.

    def admitir(self, nome):
        quem = self.gente[nome] = Alguem(nome)
        if self.encerrada:
            self.despedir(quem, "FIM:Servidor encerrado.")

    def recusar(self, quem, motivo):
        self.despedir(quem, f"FIM:{motivo.mensagem}")

    def entrar(self, quem, tipo, _, onde=("",)):
        quem.cliente, quem.onde = tipo is Tipo.CLIENTE, onde
        self.chegar(quem)

    def responder(self, quem, resposta):
        self.dizer(quem, resposta if isinstance(resposta, str) else f"{resposta.campo.upper()}:")

    def repassar_chat(self, quem, mensagem):
        for texto in mensagem.textos:
            if quem.par:
                self.entregar(quem, texto)
            elif not quem.cliente:
                self.dizer(quem, "AVISO:Nenhum cliente conectado; a mensagem não foi enviada.")
            elif len(quem.guardadas) == self.MAXIMO_GUARDADO:
                self.dizer(quem, "AVISO:Limite de mensagens na espera atingido; a mensagem não foi guardada.")
            else:
                if not quem.guardadas:
                    self.dizer(quem, NA_ESPERA)
                quem.guardadas.append(texto)

    def atender(self, quem, pedido):
        match pedido, quem.cliente, quem.fase:
            case Fim() | Transferencia(), _, fase if fase in ENTRE_CONVERSAS:
                self.dizer(quem, JA_ACABOU)
            case Fim(), True, Fase.FILA:
                self.despedir(quem, SAIU_DA_FILA)
            case Fim(), _, Fase.FILA | Fase.PAUSA:
                self.dizer(quem, SEM_CONVERSA)
            case Fim(), _, _:
                self.acabar(quem, "encerrou a conversa")
            case Consulta(), True, Fase.FILA:
                self.dizer(quem, self.situacao_de(quem))
            case Consulta(), True, _:
                self.dizer(quem, ATENDIDO)
            case Consulta(), False, _:
                self.dizer(quem, self.quem_espera(quem.onde))
            case Pausa() | Volta(), True, _:
                self.dizer(quem, "AVISO:Só atendentes fazem pausa.")
            case Transferencia(), True, _:
                self.dizer(quem, "AVISO:Só atendentes transferem clientes.")
            case Pronto(), True, _:
                self.dizer(quem, "AVISO:Só atendentes dizem que estão prontos.")
            case Pronto(), _, Fase.INTERVALO:
                self.chegar(quem)
            case Pronto(), _, Fase.INTERVALO_EM_PAUSA:
                quem.fase = Fase.PAUSA
            case Pronto(), _, _:
                quem.diz_pronto = True
            case Pausa(), _, Fase.FILA:
                self.espera.remove(quem)
                self.pausar(quem, Fase.PAUSA)
            case Pausa(), _, Fase.INTERVALO:
                self.pausar(quem, Fase.INTERVALO_EM_PAUSA)
            case Pausa(), _, fase if fase in PARADO:
                self.dizer(quem, JA_EM_PAUSA)
            case Pausa(), _, _:
                quem.fase = Fase.ULTIMA_CONVERSA
                self.dizer(quem, PAUSA_DEPOIS)
            case Volta(), _, fase if fase in PARADO:
                self.chegar(quem)
            case Volta(), _, Fase.ULTIMA_CONVERSA:
                quem.fase = Fase.CONVERSA
                self.dizer(quem, CANCELADA)
            case Volta(), _, _:
                self.dizer(quem, FORA_DE_PAUSA)
            case Transferencia(), _, Fase.FILA | Fase.PAUSA:
                self.dizer(quem, "AVISO:Nenhum cliente conectado para transferir.")
            case Transferencia(onde), _, _:
                self.transferir(quem, quem.par, onde)

    def sair(self, quem):
        self.despedir(quem)
        if quem.par:
            self.acabar(quem, "desconectou")

    def desligar(self):
        for quem in self.gente.values():
            if quem.par and quem.cliente:
                self.ouvir(quem.conversa, "fim", "", "", "Servidor encerrado.")
            self.dizer(quem, "FIM:Servidor encerrado.", FECHOU)
        self.encerrada, self.gente, self.espera = True, {}, []

    def publicar_posicoes(self):
        for quem in self.desatualizados():
            quem.posicao = self.posicao_de(quem)
            self.dizer(quem, f"FILA:{quem.posicao}")

    # Os passos.

    def chegar(self, *chegam, na_frente=False):
        """Cada um vai para a fila; formam-se os pares que der, e só a quem sobra se diz que espera."""
        for quem in chegam:
            conversava, fase, quem.fase, quem.par = quem.par, quem.fase, Fase.FILA, None
            if fase is Fase.ULTIMA_CONVERSA:
                self.pausar(quem, Fase.INTERVALO_EM_PAUSA if quem.diz_pronto else Fase.PAUSA)
            elif conversava and quem.diz_pronto:
                quem.fase = Fase.INTERVALO
            else:
                self.espera.append(quem)
            quem.na_frente = na_frente and quem.cliente
        self.espera.sort(key=lambda quem: not quem.na_frente)
        self.formar_pares()
        for quem in chegam:
            if quem.fase is Fase.FILA:
                quem.posicao = self.posicao_de(quem) if quem.cliente else 0
                self.dizer(quem, f"FILA:{quem.posicao or 'OK'}")

    def formar_pares(self):
        """Une o primeiro cliente que alguém livre atende a quem está livre há mais tempo, enquanto os houver."""
        clientes = [quem for quem in self.espera if quem.cliente]
        pares = ((c, a) for c in clientes for a in self.esperam(False, c.onde) if not self.se_evitam(c, a))
        for cliente, atendente in [*pares][:1]:
            self.unir(cliente, atendente)
            self.formar_pares()

    def se_evitam(self, cliente, atendente):
        """Quem foi transferido não volta a quem o transferiu, enquanto outro do departamento estiver online."""
        outros = [quem for quem in self.gente.values() if quem.online and quem is not atendente]
        return cliente.evita is atendente and any({*quem.onde} & {*cliente.onde} for quem in outros)

    def unir(self, cliente, atendente):
        self.conversas += 1
        for quem, par in (cliente, atendente), (atendente, cliente):
            self.espera.remove(quem)
            quem.fase, quem.par, quem.posicao, quem.desde = Fase.CONVERSA, par, 0, self.agora
            quem.conversa = self.conversas, cliente.onde[0], cliente.nome, atendente.nome
            self.dizer(quem, f"CONECTADO:{par.nome}")
            if self.registrar:
                self.dizer(quem, REGISTRADA)
        self.ouvir(cliente.conversa, "inicio", cliente.nome, atendente.nome)
        for texto in cliente.guardadas:
            self.entregar(cliente, texto)
        cliente.guardadas = []

    def entregar(self, quem, texto):
        self.dizer(quem.par, f"[{quem.nome}]: {texto}")
        self.ouvir(quem.conversa, "mensagem", quem.nome, quem.par.nome, texto)

    def pausar(self, atendente, fase):
        atendente.fase = fase
        self.dizer(atendente, EM_PAUSA)

    def despedir(self, quem, *linhas):
        del self.gente[quem.nome]
        if quem in self.espera:
            self.espera.remove(quem)
        self.dizer(quem, *linhas, FECHOU)

    def fechar(self, quem, motivo):
        """A conversa acabou, por causa de `quem`."""
        self.duracoes[quem.conversa[1]].append(self.agora - quem.desde)
        self.ouvir(quem.conversa, "fim", quem.nome, quem.par.nome, motivo)

    def acabar(self, quem, fez):
        """`quem` desfaz o par: o cliente é desconectado, ou volta para a fila; o atendente volta para a dele."""
        par, caiu = quem.par, quem.nome not in self.gente
        motivo = f"O {'cliente' if quem.cliente else 'atendente'} {quem.nome} {fez}."
        self.fechar(quem, motivo)
        if caiu and par.cliente and self.devolver:
            self.dizer(par, f"AVISO:{motivo} Você voltou para o início da fila.")
            self.chegar(par, na_frente=True)
            return
        for alguem, causa in ((par, motivo), (quem, f"Você {fez}.")):
            fim = f"FIM:Atendimento encerrado. {causa}"
            if alguem.nome in self.gente and alguem.cliente:
                self.despedir(alguem, fim)
            elif alguem.nome in self.gente:
                self.dizer(alguem, fim)
                self.chegar(alguem)

    def transferir(self, atendente, cliente, onde):
        if onde not in self.departamentos:
            quais = f"escolha entre {', '.join(self.departamentos)}"
            motivo = quais if self.departamentos else "este servidor não tem departamentos"
            self.dizer(atendente, f"AVISO:Departamento inválido: {motivo}.")
        elif onde in cliente.onde:
            self.dizer(atendente, f"AVISO:O cliente {cliente.nome} já está em {onde}.")
        else:
            motivo = f"O cliente {cliente.nome} foi transferido para {onde}."
            self.fechar(atendente, motivo)
            cliente.onde, cliente.evita = (onde,), atendente
            self.dizer(cliente, f"AVISO:Você foi transferido para {onde}.")
            self.dizer(atendente, f"FIM:Atendimento encerrado. {motivo}")
            self.chegar(cliente, atendente, na_frente=True)

    def quem_espera(self, onde):
        nomes = [cliente.nome for cliente in self.esperam(True, onde)]
        if not nomes:
            return "AVISO:Nenhum cliente na fila."
        lista = nomes if len(nomes) <= 10 else [*nomes[:10], "…"]
        return f"AVISO:Clientes na fila: {len(nomes)} ({', '.join(lista)})."

    def situacao_de(self, cliente):
        (onde,) = cliente.onde
        posicao, quantos = self.posicao_de(cliente), len(self.esperam(True, cliente.onde))
        online = sum(quem.online and onde in quem.onde for quem in self.gente.values())
        situacao = f"AVISO:Você é o número {posicao} de {quantos} na fila; atendentes online: {online}"
        recentes = self.duracoes[onde][-20:]
        if not recentes or not online:
            return f"{situacao}."
        segundos, por = sum(recentes) * posicao, len(recentes) * online  # inteiros: sem erro de conta
        minutos = "menos de 1" if segundos < 60 * por else -(-segundos // (60 * por))
        return f"{situacao}; espera estimada: {minutos} min."


class Ouvinte:
    """Quem ouve as conversas, e as guarda como o modelo as diz: uma mensagem por vez."""

    def __init__(self, trava=None):
        self.trava = trava  # a das filas, se é para conferir que ouve com ela
        self.ouvido = []

    def ouvir(self, conversa, evento, de, para, textos):
        assert self.trava is None or self.trava.locked(), "mãos: contou ao ouvinte sem a trava"
        qual = conversa.numero, conversa.departamento, conversa.cliente, conversa.atendente
        self.ouvido += [(*qual, evento, de, para, texto) for texto in textos]
